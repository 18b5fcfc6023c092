// Answer a list of calls in one process: `node calls.mjs`, with JSON on standard input.
// A call is {"call": "verifyUrl", "url": …, "options": …}, keys in hexadecimal. What was refused to sign is null.

import { readFileSync } from "node:fs";

import * as access from "./verifier.mjs";

const bytes = (hex) => Buffer.from(hex, "hex");
const bytesOfAll = (keys) => Object.fromEntries(Object.entries(keys).map(([kid, hex]) => [kid, bytes(hex)]));

const signer = (sign) => (url, options) => {
  try {
    return sign(url, { ...options, key: bytes(options.key) }).signed;
  } catch (error) {
    if (error instanceof access.Refused) return null;
    throw error;
  }
};
const verifier = (verify) => (url, options) => verify(url, { ...options, keys: bytesOfAll(options.keys) });

const calls = {
  signUrl: signer(access.signUrl),
  signPath: signer(access.signPath),
  verifyUrl: verifier(access.verifyUrl),
  verifyPath: verifier(access.verifyPath),
  verifyToken: access.verifyToken,
};

const answers = JSON.parse(readFileSync(0, "utf8")).map(({ call, url, options }) => calls[call](url, options));
console.log(JSON.stringify(answers));
