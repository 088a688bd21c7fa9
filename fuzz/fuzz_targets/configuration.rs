//! Any text is a configuration, or every error of it has a place in the text and a remedy.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pingora_city::config::Config;
use pingora_city::middleware::Registry;

fuzz_target!(|text: &str| {
    // Validation opens the files that a text names: none of this machine.
    if text.contains("file:")
        || text.contains("cert")
        || text.contains("ca_file")
        || text.contains("client_ca")
    {
        return;
    }
    let Err(report) = Config::parse("fuzz", text, &Registry::default()) else { return };
    assert!(!report.diagnostics().is_empty());
    for diagnostic in report.diagnostics() {
        assert!(!diagnostic.message.is_empty() && !diagnostic.fix.is_empty());
        assert!(text.get(..diagnostic.place.span.start).is_some());
    }
    let _ = report.to_string();
});
