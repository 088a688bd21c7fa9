//! Making the City's certificate authority and its certificates.
pub fn ensure(_: &std::path::Path) -> crate::trouble::Result {
    Ok(())
}
