"""What a mail costs on its way through the gateway, counted: no clock has a part in it."""
