"""The web pages: what people see of Earwitness."""
