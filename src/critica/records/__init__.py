"""The records that flow between the rooms: frozen, typed, checked at birth."""
