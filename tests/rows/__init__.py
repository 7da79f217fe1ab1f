"""The rows of the table, one module for each group of losses; every module here has ``ROWS``: class name -> Row."""
