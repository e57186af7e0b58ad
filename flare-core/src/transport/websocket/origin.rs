/// From which web pages a browser may connect. Clients that are no browsers send no Origin and are not asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OriginRule {
    /// From any page.
    Any,
    /// From pages of these origins: `https://chat.example.com`, or with any port `http://localhost:*`. None of them: from no page.
    Listed(Vec<String>),
}

impl OriginRule {
    /// Whether a page of this origin may connect.
    pub fn allows(&self, origin: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Listed(listed) => listed.iter().any(|it| matches(it, origin)),
        }
    }
}

fn matches(listed: &str, origin: &str) -> bool {
    let Some(host) = listed.strip_suffix(":*") else {
        return listed.eq_ignore_ascii_case(origin);
    };
    let Some((given, rest)) = origin.split_at_checked(host.len()) else {
        return false;
    };
    let is_port = rest
        .strip_prefix(':')
        .is_some_and(|port| !port.is_empty() && port.bytes().all(|it| it.is_ascii_digit()));
    given.eq_ignore_ascii_case(host) && (rest.is_empty() || is_port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listed_origins_are_allowed() {
        let rule = OriginRule::Listed(vec![
            "https://chat.example.com".to_owned(),
            "http://localhost:*".to_owned(),
        ]);
        for good in [
            "https://chat.example.com",
            "HTTPS://Chat.Example.com",
            "http://localhost:8080",
            "http://localhost",
        ] {
            assert!(rule.allows(good), "{good}");
        }
        for bad in [
            "http://chat.example.com",
            "https://chat.example.com:8443",
            "https://chat.example.com.evil.org",
            "http://localhost.evil.org",
            "http://localhost:80.evil.org",
            "http://localhost:",
            "null",
            "",
        ] {
            assert!(!rule.allows(bad), "{bad}");
        }
        assert!(OriginRule::Any.allows("null"));
        assert!(!OriginRule::Listed(Vec::new()).allows("http://localhost"));
    }
}
