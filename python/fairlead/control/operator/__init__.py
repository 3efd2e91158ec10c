"""What stands on the admin port for people: who they are, what they may, what they changed, and what the console's pages show."""
