"""The command `critica`: one file a verb."""
