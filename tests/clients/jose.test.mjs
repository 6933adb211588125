// jose verifies our access tokens with nothing but the issuer's URL.
// Run by `run jose`; needs COUNTERSIGN_URL, which must also be the issuer. COUNTERSIGN_AUDIENCE where it is not the default.
import assert from 'node:assert/strict'
import { randomUUID, webcrypto } from 'node:crypto'
import { before, test } from 'node:test'

// Node 18 has it, but not as a global.
globalThis.crypto ??= webcrypto
const { createRemoteJWKSet, decodeProtectedHeader, errors, jwtVerify } = await import('jose')

const issuer = process.env.COUNTERSIGN_URL
const audience = process.env.COUNTERSIGN_AUDIENCE ?? 'http://localhost:4200'
const username = `jose-${randomUUID()}`
const expected = { issuer, audience, typ: 'at+jwt' }

let token
let keys

async function post(path, body) {
  const answer = await fetch(`${issuer}${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  })
  assert.equal(answer.status, 200, await answer.clone().text())
  return answer.json()
}

before(async () => {
  assert.ok(issuer, 'COUNTERSIGN_URL is not set')
  const password = `a phrase of ${username}`
  await post('/api/auth/register', { username, email: `${username}@example.com`, password })
  ;({ token } = await post('/api/auth/login', { username, password }))

  const discovered = await fetch(`${issuer}/.well-known/openid-configuration`)
  assert.equal(discovered.status, 200)
  const metadata = await discovered.json()
  assert.equal(metadata.issuer, issuer, 'OpenID Connect Discovery 1.0, section 4.3: the issuer is the URL that was asked')
  keys = createRemoteJWKSet(new URL(metadata.jwks_uri))
})

test('a genuine token is accepted', async () => {
  const { payload, protectedHeader } = await jwtVerify(token, keys, expected)
  assert.equal(payload.name, username)
  assert.deepEqual(payload.roles, ['User'])
  for (const claim of ['sub', 'client_id', 'jti', 'sid']) assert.equal(typeof payload[claim], 'string', claim)
  assert.ok(payload.exp > payload.iat)
  assert.ok(protectedHeader.kid)
})

test('the RFC 8414 metadata names the same keys', async () => {
  const answer = await fetch(`${issuer}/.well-known/oauth-authorization-server`)
  assert.equal(answer.status, 200)
  const metadata = await answer.json()
  assert.equal(metadata.issuer, issuer)
  await jwtVerify(token, createRemoteJWKSet(new URL(metadata.jwks_uri)), expected)
})

test('a token with another payload is refused', async () => {
  const [header, payload, signature] = token.split('.')
  const claims = JSON.parse(Buffer.from(payload, 'base64url'))
  claims.roles = ['Admin']
  const forged = [header, Buffer.from(JSON.stringify(claims)).toString('base64url'), signature].join('.')
  await assert.rejects(jwtVerify(forged, keys, expected), errors.JWSSignatureVerificationFailed)
})

test('a token without a signature is refused', async () => {
  const header = { ...decodeProtectedHeader(token), alg: 'none' }
  const forged = [Buffer.from(JSON.stringify(header)).toString('base64url'), token.split('.')[1], ''].join('.')
  await assert.rejects(jwtVerify(forged, keys, expected))
})

test('another issuer, audience or type is refused', async () => {
  const refused = errors.JWTClaimValidationFailed
  await assert.rejects(jwtVerify(token, keys, { ...expected, issuer: 'https://elsewhere.example' }), refused)
  await assert.rejects(jwtVerify(token, keys, { ...expected, audience: 'https://elsewhere.example' }), refused)
  await assert.rejects(jwtVerify(token, keys, { ...expected, typ: 'jwt' }), refused)
})
