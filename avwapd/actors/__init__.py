"""The actors of the daemon: each one task, one queue, one duty. They wait for one another only towards the writer."""
