"""Training runs: what is loaded (`loading`), what lies where (`run_directory`), and the run itself (`run`)."""
