"""The story that the app opens with: six scenes, each one sentence, one live figure and one action."""
