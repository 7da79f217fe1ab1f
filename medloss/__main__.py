"""``python -m medloss`` is the console command ``medloss``."""

from medloss.apps.cli import main

if __name__ == "__main__":
    main()
