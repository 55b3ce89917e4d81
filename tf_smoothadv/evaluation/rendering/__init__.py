"""What results look like: tables, figures, pictures, a report."""
