// What the gateway is asked. Each answer is an object; what goes wrong is an Error with its reason.

async function answer(path, options = {}) {
  let response;
  try {
    response = await fetch(`api/${path}`, { cache: "no-store", credentials: "same-origin", ...options });
  } catch {
    throw new Error("the gateway cannot be reached");
  }
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw Object.assign(new Error(body.error || `HTTP ${response.status}`), { code: response.status });
  return body;
}

/** A GET; what is empty in `query` is left out. */
export function ask(path, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== "" && value !== null);
  const text = new URLSearchParams(given).toString();
  return answer(text ? `${path}?${text}` : path);
}

/** Change messages of the queue: `what` is retry, hold, release or delete. */
export function change(what, ids) {
  return answer(`queue/${what}`, {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-Smtpforward": "1" },
    body: JSON.stringify({ ids }),
  });
}
