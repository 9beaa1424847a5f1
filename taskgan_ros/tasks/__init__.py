"""What the arm is to do: what stands where, how episodes start, the goal and the labels."""
