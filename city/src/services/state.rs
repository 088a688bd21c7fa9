//! The folder in which a host keeps what it records and what it is told.

use std::env;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::lab::City;
use crate::trouble::{OrTrouble, Result, Trouble};

/// Where the services of this process keep their state; none: they record nothing and show no faults.
pub fn own_folder() -> Result<Option<PathBuf>> {
    let Some(folder) = env::var_os("CITY_STATE").map(PathBuf::from) else { return Ok(None) };
    fs::create_dir_all(&folder)
        .or_trouble(|| format!("cannot make the state folder {}", folder.display()))?;
    Ok(Some(folder))
}

/// The folder of a host of the City that the user means; on that host itself it is at hand.
pub fn host_folder(host: &str, city: Option<&str>) -> Result<PathBuf> {
    if env::var_os("CITY_HOST").is_some_and(|here| here == host)
        && let Some(folder) = env::var_os("CITY_STATE")
    {
        return Ok(PathBuf::from(folder));
    }
    Ok(City::find(city)?.host_folder(host))
}

/// Writes a file of state so that a service sees the old or the new one, and nothing between.
pub fn write(path: &Path, value: &impl Serialize) -> Result {
    let cannot = || format!("cannot write {}", path.display());
    let folder = path.parent().ok_or_else(|| Trouble::new(cannot()))?;
    let text = serde_json::to_vec_pretty(value).or_trouble(cannot)?;
    let mut file = tempfile::NamedTempFile::new_in(folder).or_trouble(cannot)?;
    file.write_all(&text).or_trouble(cannot)?;
    file.persist(path).or_trouble(cannot)?;
    Ok(())
}
