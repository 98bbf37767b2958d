"""Champion against challenger: gates, versions, publishing."""
