"""The other side of the speed bench: scripts that run in the peers' own environments and import nothing of Critica."""
