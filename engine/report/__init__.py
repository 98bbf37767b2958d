"""The report of a night: `night` reads score files, `sections` turns them into words, `page` renders them."""
