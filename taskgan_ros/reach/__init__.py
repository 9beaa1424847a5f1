"""What `reach_node` decides between a message and a publication. No middleware: a replay of a recording runs it too."""
