"""What a person looks at: sample sheets, curves, panels of videos, and the page that shows them."""
