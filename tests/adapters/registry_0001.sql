BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0001');
CREATE TABLE aliases (
	domain VARCHAR(63) NOT NULL, 
	alias VARCHAR(16) NOT NULL, 
	version_id INTEGER NOT NULL, 
	PRIMARY KEY (domain, alias), 
	FOREIGN KEY(version_id) REFERENCES versions (id)
);
INSERT INTO "aliases" VALUES('legal','production',2);
INSERT INTO "aliases" VALUES('legal','previous',1);
CREATE TABLE evaluations (
	id INTEGER NOT NULL, 
	version_id INTEGER NOT NULL, 
	record JSON NOT NULL, 
	PRIMARY KEY (id), 
	FOREIGN KEY(version_id) REFERENCES versions (id)
);
INSERT INTO "evaluations" VALUES(1,1,'{"domain": "legal", "number": 1, "version_digest": "893d824eb25f73ed96072d3ac5cf14c8cb1ac56ee3d5f022bf15458a6c6d783d", "base_fingerprint": "7fbc97515aaaceaa7679c6867e7b6fb43f4648fa2a0a4417fca3de1e602f8905", "suite": "held-out", "suite_digest": "s1", "passed": true, "reasons": ["all is well."], "samples": 100, "metric": "exact_match", "score": 0.9, "base_score": 0.1, "gain": 0.8, "gain_interval": [0.7, 0.9], "production": null, "endpoint": "http://127.0.0.1:8000/v1", "result_path": "evaluations/legal@1", "created_at": "2026-03-01T00:00:00Z", "created_by": "ada"}');
CREATE TABLE releases (
	id INTEGER NOT NULL, 
	domain VARCHAR(63) NOT NULL, 
	action VARCHAR(16) NOT NULL, 
	version VARCHAR(80) NOT NULL, 
	replaced VARCHAR(80), 
	"by" VARCHAR(200) NOT NULL, 
	at DATETIME NOT NULL, 
	reason TEXT, 
	evidence JSON NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "releases" VALUES(1,'legal','release','legal@1',NULL,'ada','2026-11-25 23:33:51.372931','first','[{"evaluation": 1, "suite": "held-out", "suite_digest": "s1", "metric": "exact_match", "score": 0.9, "gain": 0.8, "gain_interval": [0.7, 0.9], "passed": true}]');
INSERT INTO "releases" VALUES(2,'legal','forced release','legal@2','legal@1','ada','2026-11-25 23:33:51.378036','quick','[]');
CREATE TABLE required_suites (
	domain VARCHAR(63) NOT NULL, 
	suite VARCHAR(63) NOT NULL, 
	digest VARCHAR(64) NOT NULL, 
	PRIMARY KEY (domain, suite)
);
INSERT INTO "required_suites" VALUES('legal','held-out','s1');
CREATE TABLE state (
	id INTEGER NOT NULL, 
	revision INTEGER NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "state" VALUES(1,5);
CREATE TABLE versions (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	domain VARCHAR(63) NOT NULL, 
	number INTEGER NOT NULL, 
	digest VARCHAR(64) NOT NULL, 
	manifest JSON NOT NULL, 
	deleted BOOLEAN NOT NULL, 
	UNIQUE (domain, number)
);
INSERT INTO "versions" VALUES(1,'legal',1,'893d824eb25f73ed96072d3ac5cf14c8cb1ac56ee3d5f022bf15458a6c6d783d','{"domain": "legal", "number": 1, "digest": "893d824eb25f73ed96072d3ac5cf14c8cb1ac56ee3d5f022bf15458a6c6d783d", "base": "tiny-llama", "base_fingerprint": "7fbc97515aaaceaa7679c6867e7b6fb43f4648fa2a0a4417fca3de1e602f8905", "rank": 4, "alpha": 8.0, "target_modules": ["down_proj", "q_proj", "v_proj"], "parameters": 3328, "size": 15970, "recipe": {"method": "sft"}, "data": null, "training": {}, "probes": [], "origin": null, "code_version": "0.1.0", "created_at": "2026-11-25T23:33:51.223864Z", "created_by": "ada"}',0);
INSERT INTO "versions" VALUES(2,'legal',2,'c701aa07aaedc7b76aabe4f99f344637ebf28e754b149f9af292c398895987ab','{"domain": "legal", "number": 2, "digest": "c701aa07aaedc7b76aabe4f99f344637ebf28e754b149f9af292c398895987ab", "base": "tiny-llama", "base_fingerprint": "7fbc97515aaaceaa7679c6867e7b6fb43f4648fa2a0a4417fca3de1e602f8905", "rank": 4, "alpha": 8.0, "target_modules": ["down_proj", "q_proj", "v_proj"], "parameters": 3328, "size": 15970, "recipe": {"method": "sft"}, "data": null, "training": {}, "probes": [], "origin": null, "code_version": "0.1.0", "created_at": "2026-11-25T23:33:51.347105Z", "created_by": "ada"}',0);
CREATE INDEX ix_versions_digest ON versions (digest);
CREATE INDEX ix_evaluations_version_id ON evaluations (version_id);
CREATE INDEX ix_releases_domain ON releases (domain);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('versions',2);
COMMIT;
