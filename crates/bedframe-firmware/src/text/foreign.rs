//! Formats that are recognised so that an error can name them, but are not read.

/// What the format of the line is called, if it is one of these.
pub(crate) fn format(body: &str) -> Option<&'static str> {
    if body.starts_with("(XEN)") && (body.contains("RAM") || body.contains("(usable)")) {
        return Some("a Xen boot log");
    }
    if body.starts_with("Xen: [mem ") || body.starts_with("Xen: 0") {
        return Some("the list that Xen gave a guest");
    }
    let efi = body.strip_prefix("efi: ").or_else(|| body.strip_prefix("EFI: ")).unwrap_or(body);
    if efi.strip_prefix("mem").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit())) {
        return Some("an EFI memory list");
    }
    is_iomem(body).then_some("/proc/iomem")
}

/// `00100000-7fffffff : System RAM`
fn is_iomem(body: &str) -> bool {
    let Some((range, _)) = body.split_once(" : ") else { return false };
    let Some((start, end)) = range.split_once('-') else { return false };
    let number = |text: &str| text.len() >= 8 && text.bytes().all(|b| b.is_ascii_hexdigit());
    number(start) && number(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_format_is_named() {
        assert_eq!(format("(XEN) RAM: 0 - 1"), Some("a Xen boot log"));
        assert_eq!(
            format("efi: mem00: type=3, attr=0xf, range=[0x0-0x1000) (0MB)"),
            Some("an EFI memory list")
        );
        assert_eq!(format("00100000-9ffeac3f : System RAM"), Some("/proc/iomem"));
        assert_eq!(
            format("Xen: [mem 0x0000000000000000-0x0000000000090fff] usable"),
            Some("the list that Xen gave a guest")
        );
        assert_eq!(format("memory is fine"), None);
        assert_eq!(format("(XEN) Checking for initrd in /chosen"), None);
        assert_eq!(format("a-b : c"), None);
    }
}
