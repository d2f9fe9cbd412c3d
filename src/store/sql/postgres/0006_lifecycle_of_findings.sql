-- What is told of a finding. Rows that no look has seen since have none of it.
ALTER TABLE findings ADD COLUMN evidence_hash TEXT;
ALTER TABLE findings ADD COLUMN title TEXT NOT NULL DEFAULT '';
ALTER TABLE findings ADD COLUMN message TEXT NOT NULL DEFAULT '';
ALTER TABLE findings ADD COLUMN remediation TEXT NOT NULL DEFAULT '';
ALTER TABLE findings ADD COLUMN project TEXT;
-- The policies that say so, as JSON: the strictest first.
ALTER TABLE findings ADD COLUMN policies TEXT NOT NULL DEFAULT '[]';
-- When somebody was told that it is overdue.
ALTER TABLE findings ADD COLUMN overdue_told_at BIGINT;

-- What lists ask for: parts of the evidence, and the severity as a number.
ALTER TABLE findings ADD COLUMN subject TEXT NOT NULL DEFAULT '';
ALTER TABLE findings ADD COLUMN check_id TEXT;
ALTER TABLE findings ADD COLUMN severity_rank BIGINT NOT NULL DEFAULT 0;

UPDATE findings SET
    subject = coalesce(evidence::jsonb ->> 'subject_external_id', ''),
    check_id = evidence::jsonb ->> 'check_id',
    severity_rank = CASE severity WHEN 'critical' THEN 4 WHEN 'high' THEN 3 WHEN 'medium' THEN 2
        WHEN 'low' THEN 1 ELSE 0 END;

CREATE INDEX findings_listed ON findings (workspace_id, severity_rank, id);
CREATE INDEX findings_listed_by_tenant ON findings (tenant_id, severity_rank, id);
CREATE INDEX findings_open ON findings (workspace_id, severity_rank, id)
    WHERE status NOT IN ('resolved', 'closed');
CREATE INDEX findings_open_by_tenant ON findings (tenant_id, id)
    WHERE status NOT IN ('resolved', 'closed');
CREATE INDEX findings_due ON findings (due_at)
    WHERE due_at IS NOT NULL AND overdue_told_at IS NULL;
CREATE INDEX findings_finished ON findings (updated_at) WHERE status IN ('resolved', 'closed');
CREATE INDEX finding_exceptions_open ON finding_exceptions (expires_at)
    WHERE status IN ('requested', 'approved');

-- How each subject stands to each policy that is about it, and since when.
CREATE TABLE policy_standings (
    workspace_id TEXT NOT NULL REFERENCES workspaces (id),
    tenant_id    TEXT COLLATE "C" NOT NULL,
    policy       TEXT COLLATE "C" NOT NULL,
    subject      TEXT COLLATE "C" NOT NULL,
    project      TEXT,
    standing     TEXT NOT NULL CHECK (standing IN ('failing', 'excepted', 'unknown', 'passing')),
    since        BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, policy, subject),
    FOREIGN KEY (tenant_id, workspace_id) REFERENCES tenants (id, workspace_id)
);

CREATE INDEX policy_standings_by_subject ON policy_standings (tenant_id, subject);
CREATE INDEX policy_standings_by_workspace ON policy_standings (workspace_id, tenant_id, policy,
    project, standing);
