//! `botprimex openapi`.

use crate::process::run;

#[test]
fn the_printed_document_is_the_served_one() {
    let printed = run(&["openapi"]);
    assert!(printed.status.success() && printed.stderr.is_empty());
    assert_eq!(String::from_utf8(printed.stdout).unwrap(), api::openapi_document());
}
