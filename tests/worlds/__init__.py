"""Small worlds with known truth that several tests share."""
