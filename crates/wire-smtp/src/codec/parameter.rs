//! Parameters of MAIL and RCPT: `keyword[=value]`, separated by spaces (RFC 5321 §4.1.2).

/// One parameter, as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameter<'a> {
    pub keyword: &'a str,
    pub value: Option<&'a str>,
}

impl Parameter<'_> {
    /// Keywords know no letter case.
    pub fn is(&self, keyword: &str) -> bool {
        self.keyword.eq_ignore_ascii_case(keyword)
    }
}

/// Why the text behind a path holds no parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParameterError {
    #[error("a parameter's keyword has letters, digits and hyphens only")]
    Keyword,
    #[error("a parameter's value is empty or has a character that is not allowed")]
    Value,
    #[error("a parameter is given twice")]
    Twice,
}

/// All parameters of `text`, in order, each keyword at most once.
pub fn parameters(text: &str) -> Result<Vec<Parameter<'_>>, ParameterError> {
    let mut out: Vec<Parameter<'_>> = Vec::new();
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let (keyword, value) = match word.split_once('=') {
            Some((keyword, value)) => (keyword, Some(value)),
            None => (word, None),
        };
        let mut octets = keyword.bytes();
        let starts = octets.next().is_some_and(|b| b.is_ascii_alphanumeric());
        if !starts || !octets.all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            return Err(ParameterError::Keyword);
        }
        // esmtp-value: anything but "=", SP and controls; RFC 6531 §3.3 adds UTF-8.
        if value.is_some_and(|v| v.is_empty() || v.chars().any(|c| c == '=' || c.is_control())) {
            return Err(ParameterError::Value);
        }
        if out.iter().any(|p| p.is(keyword)) {
            return Err(ParameterError::Twice);
        }
        out.push(Parameter { keyword, value });
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_and_values_are_told_apart() {
        let found = parameters(" SIZE=10  body=8BITMIME SMTPUTF8 ").unwrap();
        assert_eq!(found.len(), 3);
        assert!(found[1].is("BODY") && found[1].value == Some("8BITMIME"));
        assert!(found[2].is("smtputf8") && found[2].value.is_none());
    }

    #[test]
    fn refuses_what_is_no_parameter() {
        for (text, why) in [
            ("=1", ParameterError::Keyword),
            ("-A=1", ParameterError::Keyword),
            ("A_B=1", ParameterError::Keyword),
            ("A=", ParameterError::Value),
            ("A=b=c", ParameterError::Value),
            ("A=\u{1}", ParameterError::Value),
            ("SIZE=1 size=2", ParameterError::Twice),
        ] {
            assert_eq!(parameters(text), Err(why), "{text}");
        }
    }
}
