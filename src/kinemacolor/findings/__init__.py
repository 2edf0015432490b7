"""What the stages left behind, read for the page: `sources`, `datasets`, `models`, and how models compare (`judging`)."""
