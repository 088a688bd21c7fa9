//! Making the City's certificate authority and its certificates.
