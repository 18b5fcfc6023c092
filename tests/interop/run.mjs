// Run every vector of a vectors.json against verifier.mjs: `node run.mjs vectors.json`.
// One line per vector that fails, and last `N vectors, M failed`. The exit code is 1 when one failed, or when the file
// holds something that this runner does not know: nothing is skipped silently.

import { readFileSync } from "node:fs";
import { isDeepStrictEqual } from "node:util";

import * as access from "./verifier.mjs";

const bytes = (hex) => Buffer.from(hex, "hex");
const hex = (value) => (value === null ? null : Buffer.from(value).toString("hex"));

/** What a canonical form or a signer gives, or null where it refuses. Any other error is a failure. */
function orNull(compute) {
  try {
    return compute();
  } catch (error) {
    if (error instanceof access.Denied || error instanceof access.Refused) return null;
    throw error;
  }
}

const signers = { url: access.signUrl, path: access.signPath };
const verifiers = { url: access.verifyUrl, path: access.verifyPath };

function signed(vector) {
  const options = {
    key: bytes(vector.key_hex),
    kid: vector.kid,
    expiresIn: vector.expires_in_s,
    notBefore: vector.not_before,
    generation: vector.generation,
    address: vector.address,
    method: vector.method,
    prefix: vector.prefix,
    nonce: vector.nonce ?? undefined,
  };
  const answer = orNull(() => signers[vector.form](vector.url, options));
  return { message: answer?.message.toString() ?? null, signed: answer?.signed ?? null };
}

function verified(vector, keys) {
  const { reason = "ok", ...rest } = verifiers[vector.form](vector.url, {
    keys,
    method: vector.method,
    generation: vector.generation,
    address: vector.address,
    now: vector.now,
    leeway: vector.leeway_s,
    memory: vector.memory === null ? null : new access.NonceMemory(vector.memory),
  });
  const { ok, path, query, prefix } = rest;
  return ok ? { result: "ok", path, query, prefix } : { result: reason };
}

// For each list of vectors: what they put in, and a function that gives what comes out.
const sections = {
  hkdf: {
    input: ["key_hex", "salt_hex", "info_hex", "length"],
    run: (v) => ({
      output_hex: hex(access.hkdf(bytes(v.key_hex), bytes(v.info_hex), { salt: bytes(v.salt_hex), length: v.length })),
    }),
  },
  frames: { input: ["fields_hex"], run: (v) => ({ frame_hex: hex(access.frame(...v.fields_hex.map(bytes))) }) },
  base64url: { input: ["text"], run: (v) => ({ bytes_hex: hex(access.decodeB64(v.text)) }) },
  "tokens.derived": {
    input: ["key_hex", "context_hex"],
    run: (v) => {
      const token = access.deriveToken(bytes(v.key_hex), bytes(v.context_hex));
      return { token, hash: access.hashToken(token) };
    },
  },
  "tokens.verification": {
    input: ["name", "token", "hash"],
    run: (v) => ({ ok: access.verifyToken(v.token, [v.hash]) }),
  },
  session_keys: {
    input: ["master_hex", "purpose", "session_id", "generation"],
    run: ({ master_hex, purpose, session_id, generation }) => ({
      info: access.sessionKeyInfo(purpose, session_id, generation).toString(),
      key_hex: hex(access.sessionKey(bytes(master_hex), purpose, session_id, generation)),
    }),
  },
  networks: { input: ["address"], run: (v) => ({ canonical: access.network(v.address) }) },
  paths: { input: ["path"], run: (v) => ({ canonical: orNull(() => access.canonicalPath(v.path)) }) },
  queries: { input: ["query"], run: (v) => ({ canonical: orNull(() => access.canonicalQuery(v.query)) }) },
  signing: {
    input: ["name", "form", "url", "key_hex", "kid", "expires_in_s", "not_before", "generation", "address"].concat([
      "method",
      "prefix",
      "nonce",
    ]),
    run: signed,
  },
  verification: {
    input: ["name", "form", "url", "method", "generation", "address", "now", "leeway_s", "memory"],
    run: verified,
  },
};

const notVectors = new Set(["version", "about", "keys_hex"]);

/** The lists of vectors in the file, also those inside of a section, each with its name. */
function* listsOf(value, name = "") {
  for (const [key, inner] of Object.entries(value)) {
    const path = name === "" ? key : `${name}.${key}`;
    if (notVectors.has(path)) continue;
    if (inner !== null && typeof inner === "object" && !Array.isArray(inner)) yield* listsOf(inner, path);
    else yield [path, inner];
  }
}

/** Compare everything that the vector holds beside its input, so that no expectation goes unread. */
function failureOf(section, vector, keys) {
  const expected = Object.fromEntries(Object.entries(vector).filter(([key]) => !section.input.includes(key)));
  let actual;
  try {
    actual = section.run(vector, keys);
  } catch (error) {
    actual = { thrown: `${error.name}: ${error.message}` };
  }
  return isDeepStrictEqual(actual, expected)
    ? null
    : `${JSON.stringify(vector)}: expected ${JSON.stringify(expected)}, got ${JSON.stringify(actual)}`;
}

function main(file) {
  const vectors = JSON.parse(readFileSync(file, "utf8"));
  const keys = Object.fromEntries(Object.entries(vectors.keys_hex ?? {}).map(([kid, text]) => [kid, bytes(text)]));
  let [count, failed, unknown] = [0, 0, vectors.version === 1 ? 0 : 1];
  if (unknown) console.log(`unknown version: ${vectors.version}`);
  for (const [name, list] of listsOf(vectors)) {
    if (!Object.hasOwn(sections, name) || !Array.isArray(list)) {
      console.log(`unknown section: ${name}`);
      unknown += 1;
      continue;
    }
    list.forEach((vector, index) => {
      const failure = failureOf(sections[name], vector, keys);
      if (failure !== null) console.log(`${name}[${index}] ${failure}`);
      count += 1;
      failed += Number(failure !== null);
    });
  }
  console.log(`${count} vectors, ${failed} failed`);
  process.exitCode = failed + unknown > 0 ? 1 : 0;
}

main(process.argv[2]);
