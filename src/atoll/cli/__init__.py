"""Words in, words out: one file per verb, no logic, the only place that exits."""
