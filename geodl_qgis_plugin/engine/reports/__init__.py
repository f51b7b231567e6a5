"""Reports: self-contained HTML pages with charts, tables and maps."""
