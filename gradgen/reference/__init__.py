"""Reference: interpreters that say what a program means, sharing no code with what schedules and prints it."""
