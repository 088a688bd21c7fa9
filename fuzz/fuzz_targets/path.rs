//! A path has one normal form, which is its own, and leads nowhere else.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pingora_city::route::path::normalize;

fuzz_target!(|path: &str| {
    let Ok(normal) = normalize(path) else { return };
    assert!(normal.is_ascii() && normal.starts_with('/'));
    assert_eq!(normalize(&normal).as_deref(), Ok(&*normal));
    assert!(!normal.contains("//") && !normal.contains(['\\', '\0']));
    assert!(normal.split('/').all(|segment| segment != "." && segment != ".."));
});
