//! Doing it: scheduling, budgets, retries, cancel, unwind. Knows no meaning of a task.
