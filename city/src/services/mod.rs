//! What the hosts of the City serve, the journal of what they received, and the faults they are told to show.
