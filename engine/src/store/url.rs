//! A database's address as people may see it.

use std::path::PathBuf;

use super::Store;

/// The file that a database's address names, where it is a file.
pub fn database_file(url: &str) -> Option<PathBuf> {
    Store::file(url)
}

/// A database's address without its password, and of a file with its whole path.
pub fn shown_database_url(url: &str) -> String {
    if let Some(file) = url.strip_prefix("sqlite:") {
        let path = file.trim_start_matches("//").split('?').next().unwrap_or_default();
        return std::path::absolute(path)
            .map_or_else(|_| url.to_owned(), |path| format!("sqlite://{}", path.display()));
    }
    let Some((scheme, rest)) = url.split_once("://") else { return "a database".to_owned() };
    // A password may hold anything, and stands before the last `@`; options may name one as well.
    let rest = rest.split('?').next().unwrap_or_default();
    let Some((login, host)) = rest.rsplit_once('@') else { return format!("{scheme}://{rest}") };
    let user = login.split(':').next().unwrap_or_default();
    format!("{scheme}://{user}@{host}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_is_shown() {
        for (url, shown) in [
            ("postgres://me:hidden@db.example:5432/books", "postgres://me@db.example:5432/books"),
            ("postgres://me:hid@den@db/books?password=hidden", "postgres://me@db/books"),
            ("postgresql://db/books", "postgresql://db/books"),
            ("hidden", "a database"),
            ("sqlite:///var/lib/books.db?mode=rwc", "sqlite:///var/lib/books.db"),
        ] {
            assert_eq!(shown_database_url(url), shown);
        }
        let relative = shown_database_url("sqlite://books.db");
        assert!(relative.starts_with("sqlite:///") && relative.ends_with("/books.db"), "{relative}");
    }
}
