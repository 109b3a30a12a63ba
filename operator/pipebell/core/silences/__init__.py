"""What holds messages back for a time: silences and quiet hours, and the catch-up when that is over."""
