"""What is true anywhere: errors, ids, typed fields, reports. Imports nothing of Atoll."""
