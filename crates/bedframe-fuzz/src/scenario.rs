//! Scenarios: whatever a file holds, it is one, or it is refused with the line and what was expected.

use bedframe_scenario::Scenario;

/// A scenario's text, which is read and not run.
pub fn scenario(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match Scenario::from_text("input", &text) {
        Ok(scenario) => {
            assert!(scenario.steps() > 0);
            assert_eq!(scenario.file(), "input");
        }
        Err(error) => {
            assert!(!error.expected.is_empty(), "{error}");
            assert!(error.to_string().starts_with("input:"));
            assert_eq!(error.to_string().lines().count(), 1, "{error}");
            if let Some(line) = error.line() {
                assert!((1..=text.matches('\n').count() + 1).contains(&line), "{error}");
            }
        }
    }
}
