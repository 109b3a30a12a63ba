"""What keeps Incidents: stores and finds them, tells what time brings, and hears what people say."""
