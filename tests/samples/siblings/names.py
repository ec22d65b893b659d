FLOW = "paint-the-fence"
