"""Pages, health and metrics over HTTP. Identities are shown nowhere but in the pictures of the review page, to reviewers, audited."""
