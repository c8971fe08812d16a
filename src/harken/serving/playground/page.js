// What the parts of the page share.

export const element = (id) => document.getElementById(id);

// Shows a problem in the paragraph `id`, or hides it for null.
export function show(id, problem) {
  element(id).textContent = problem ? problem.message : "";
  element(id).hidden = !problem;
}
