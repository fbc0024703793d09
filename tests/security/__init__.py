"""What hostile callers, a failing Hub and hostile repositories try, and what comes of it."""
