CREATE TABLE audit (
	id BIGSERIAL NOT NULL,
	at DOUBLE PRECISION NOT NULL,
	who TEXT NOT NULL,
	action TEXT NOT NULL,
	instance_id BIGINT,
	delivery_id BIGINT,
	reason TEXT NOT NULL,
	PRIMARY KEY (id)
);
--
CREATE INDEX audit_instance ON audit (instance_id);
--
CREATE TABLE destinations (
	name TEXT NOT NULL,
	up BOOLEAN NOT NULL,
	changed_at DOUBLE PRECISION NOT NULL,
	PRIMARY KEY (name)
);
--
CREATE TABLE instances (
	id BIGSERIAL NOT NULL,
	state TEXT NOT NULL,
	due DOUBLE PRECISION,
	token BIGINT DEFAULT '0' NOT NULL,
	owner TEXT,
	attempts INTEGER DEFAULT '0' NOT NULL,
	route TEXT NOT NULL,
	file TEXT,
	size BIGINT NOT NULL,
	sop_class_uid TEXT NOT NULL,
	transfer_syntax_uid TEXT NOT NULL,
	identity BYTEA NOT NULL,
	sop_index BYTEA NOT NULL,
	content BYTEA,
	conflict BOOLEAN DEFAULT false NOT NULL,
	reason TEXT,
	detail TEXT,
	series_number BIGINT,
	instance_number BIGINT,
	waived TEXT DEFAULT '' NOT NULL,
	received_at DOUBLE PRECISION NOT NULL,
	closed_at DOUBLE PRECISION,
	PRIMARY KEY (id)
);
--
CREATE INDEX instances_aside ON instances (id) WHERE state IN ('quarantined', 'failed');
--
CREATE INDEX instances_closed ON instances (closed_at) WHERE state IN ('delivered', 'dropped');
--
CREATE UNIQUE INDEX instances_conflict ON instances (sop_index, content) WHERE conflict;
--
CREATE INDEX instances_due ON instances (due, id) WHERE due IS NOT NULL;
--
CREATE INDEX instances_file ON instances (file);
--
CREATE UNIQUE INDEX instances_one ON instances (sop_index) WHERE NOT conflict;
--
CREATE INDEX instances_open ON instances (received_at) WHERE state IN ('received', 'processing', 'released');
--
CREATE INDEX instances_owner ON instances (owner) WHERE owner IS NOT NULL;
--
CREATE INDEX instances_purge ON instances (closed_at, id) WHERE state IN ('delivered', 'dropped') AND file IS NOT NULL;
--
CREATE INDEX instances_state ON instances (route, state) WHERE state <> 'delivered';
--
CREATE TABLE meta (
	name TEXT NOT NULL,
	value TEXT NOT NULL,
	PRIMARY KEY (name)
);
--
CREATE TABLE receipt_chain (
	id BIGSERIAL NOT NULL,
	day TEXT NOT NULL,
	instance_id BIGINT NOT NULL,
	digest TEXT NOT NULL,
	link TEXT NOT NULL,
	PRIMARY KEY (id)
);
--
CREATE TABLE studies (
	study_key TEXT NOT NULL,
	patient_key TEXT NOT NULL,
	PRIMARY KEY (study_key)
);
--
CREATE TABLE tally (
	id BIGSERIAL NOT NULL,
	kind TEXT NOT NULL,
	name TEXT NOT NULL,
	change BIGINT NOT NULL,
	PRIMARY KEY (id)
);
--
CREATE TABLE deliveries (
	id BIGSERIAL NOT NULL,
	instance_id BIGINT NOT NULL,
	destination TEXT NOT NULL,
	state TEXT NOT NULL,
	due DOUBLE PRECISION,
	token BIGINT DEFAULT '0' NOT NULL,
	owner TEXT,
	attempts INTEGER DEFAULT '0' NOT NULL,
	crashes INTEGER DEFAULT '0' NOT NULL,
	study_key TEXT NOT NULL,
	detail TEXT DEFAULT '' NOT NULL,
	changed_at DOUBLE PRECISION NOT NULL,
	PRIMARY KEY (id),
	FOREIGN KEY(instance_id) REFERENCES instances (id) ON DELETE CASCADE
);
--
CREATE INDEX deliveries_due ON deliveries (destination, due, id) WHERE due IS NOT NULL;
--
CREATE INDEX deliveries_list ON deliveries (id) WHERE state <> 'delivered';
--
CREATE UNIQUE INDEX deliveries_one ON deliveries (instance_id, destination);
--
CREATE INDEX deliveries_owner ON deliveries (owner) WHERE owner IS NOT NULL;
--
CREATE INDEX deliveries_state ON deliveries (destination, state) WHERE state <> 'delivered';
--
CREATE INDEX deliveries_study ON deliveries (destination, study_key, due, id) WHERE due IS NOT NULL;
--
CREATE TABLE releases (
	instance_id BIGINT NOT NULL,
	sop_class_uid TEXT NOT NULL,
	sop_instance_uid TEXT NOT NULL,
	transfer_syntax_uid TEXT NOT NULL,
	file TEXT,
	size BIGINT NOT NULL,
	digest TEXT NOT NULL,
	seal TEXT NOT NULL,
	study_key TEXT NOT NULL,
	receipt JSON,
	released_at DOUBLE PRECISION NOT NULL,
	closed_at DOUBLE PRECISION,
	PRIMARY KEY (instance_id),
	FOREIGN KEY(instance_id) REFERENCES instances (id) ON DELETE CASCADE
);
--
CREATE INDEX releases_file ON releases (file);
--
CREATE INDEX releases_purge ON releases (closed_at) WHERE file IS NOT NULL AND closed_at IS NOT NULL;
--
CREATE INDEX releases_receipt ON releases (released_at) WHERE receipt IS NOT NULL;
--
CREATE INDEX releases_sop ON releases (sop_instance_uid);
--
CREATE OR REPLACE FUNCTION audit_permanent() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'audit rows are permanent'; END $$;
--
CREATE OR REPLACE TRIGGER audit_permanent BEFORE UPDATE OR DELETE OR TRUNCATE ON audit FOR EACH STATEMENT EXECUTE FUNCTION audit_permanent();
