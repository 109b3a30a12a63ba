"""What holds messages back for a time: silences and quiet hours, and what is told when that is over."""
