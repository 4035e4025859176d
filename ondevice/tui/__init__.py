"""The screen. Delete this folder and everything else still runs."""
