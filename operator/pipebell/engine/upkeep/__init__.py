"""What goes on beside the events: cooldowns rebuilt, usage written, finished events deleted."""
