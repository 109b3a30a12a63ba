"""What happens to an event: taken in, decided, delivered, recorded."""
