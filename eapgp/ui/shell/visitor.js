// @ts-check
// A visitor of a public server keeps a key, by which the server knows whose runs and jobs are whose.

const YEAR = 365 * 24 * 3600;

/**
 * Streamlit calls it when the component is mounted.
 * @param {{ data: { name: string, key: string } }} component
 */
export default function keep({ data }) {
  const secure = location.protocol === "https:" ? "; Secure" : "";
  document.cookie = `${data.name}=${data.key}; Path=/; Max-Age=${YEAR}; SameSite=Strict${secure}`;
}
